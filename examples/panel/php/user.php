<?php
require 'common.php';

$user = isset($_GET['user']) && is_string($_GET['user']) ? strtolower($_GET['user']) : '';
if (!is_name($user)) {
    die('There is no such user.');
}
$page = 'user.php?user=' . urlencode($user);

if ($_SERVER['REQUEST_METHOD'] == 'POST') {
    switch (field('do')) {
        case 'password':
            $result = @vpopmail_passwd($user, $domain, given('password'));
            done($page, $result, "$user@$domain has a new password.");
        case 'quota':
            $quota = field('quota') == '' ? 'NOQUOTA' : (int) field('quota') . 'M';
            done($page, @vpopmail_set_user_quota($user, $domain, $quota), 'The quota was changed.');
        case 'delete':
            if ($user == 'postmaster') {
                die('The postmaster stays.');
            }
            done('index.php', @vpopmail_del_user($user, $domain), "$user@$domain was deleted.");
    }
}
head("$user@$domain");
?>
<form method="post">
  <?= token() ?><input type="hidden" name="do" value="password">
  <p>New password <input name="password" type="password"> <button>Change</button>
</form>
<form method="post">
  <?= token() ?><input type="hidden" name="do" value="quota">
  <p>Quota <input name="quota" size="5"> MB <button>Change</button>
</form>
<form method="post">
  <?= token() ?><input type="hidden" name="do" value="delete">
  <p><button>Delete <?= h("$user@$domain") ?> and all of the mail</button>
</form>
