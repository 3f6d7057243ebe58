<?php
// Half a merge: what is there is read as far as it goes.
if (vpopmail_add_user($user, $domain, $pass) {
    echo "added";
<<<<<<< mine
    vpopmail_set_user_quota($user, $domain, "10M");
=======
    vpopmail_set_user_quota($user, $domain, "20M")
>>>>>>> theirs
}
vpopmail_del_user($user, $domain);
function (
vpopmail_passwd("a", 
