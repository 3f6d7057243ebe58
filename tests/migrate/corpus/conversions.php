<?php
// What the extension made a text of.
vpopmail_add_user('zero', 'example.com', null);
vpopmail_add_user('one', 'example.com', false, true, TRUE);
vpopmail_add_user('two', 'example.com', 12345, 1.5, 0);
vpopmail_add_user("three", "example.com", (string)$_REQUEST['pw'], "$first {$last}");
vpopmail_add_user('four', "ex" . "ample.com", $pw . "\x21\n", 'O\'Neil');
vpopmail_add_user(array('five'), 'example.com', 0755 + 010, <<<GECOS
Five $last
GECOS
);
vpopmail_add_domain('uid.example', '/home/vpopmail', '89', 89.0);
vpopmail_set_user_quota('one', 'example.com', $mb * 1048576);
vpopmail_set_user_quota('one', 'example.com', $settings["quota's"]["\"new\""]);
vpopmail_add_domain_ex('ex.example', escapeshellarg($pw), '10M', $bounce ? 'b@example.com' : '', 1);
vpopmail_add_user('six', 'example.com', $a ?: 'secret-6', $b ?? 'Six');
vpopmail_passwd();
vpopmail_passwd('one', 'example.com', 'pw-1', 1, 2, 3);
vpopmail_del_user('one');
vpopmail_alias_get_all();
vpopmail_error(1);
