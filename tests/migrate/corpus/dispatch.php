<?php
// Calls that no grep for "vpopmail_add_user(" finds.
if (!extension_loaded('vpopmail')) {
    if (!dl("vpopmail.so")) exit;
}
ini_set('display_errors', 0);
ini_set('vpopmail.directory', '/home/vpopmail');
error_reporting(E_ALL & ~E_WARNING);

$f = 'vpopmail_auth_user';
if ($f($user, $domain, $password)) {
    session_start();
}
$functions = array(
    'add' => 'vpopmail_add_user',
    'del' => 'vpopmail_del_user',
);
$functions[$action]($user, $domain, $password);
$name = 'vpopmail_' . $action;
$name($domain);
${'go'} = "vpopmail_$action";

call_user_func('vpopmail_del_user', $user, $domain);
call_user_func_array("vpopmail_passwd", array($user, $domain, $password));
call_user_func_array('vpopmail_passwd', $arguments);
array_map('vpopmail_del_domain', $domains);
if (is_callable('VPOPMAIL_ALIAS_DEL_DOMAIN')) { $ok = true; }
VPOPMAIL_Add_Alias_Domain($domain, "www.$domain");
$result = vpopmail_add_alias_domain_ex($domain, "mail.$domain");
if (false === $result) echo $php_errormsg;
vpopmail_list_users($domain);

function vpopmail_quota($user) { return vpopmail_set_user_quota($user, 'example.com', 'NOQUOTA'); }
