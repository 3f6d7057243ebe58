<?php
$show = 'htmlspecialchars';
echo <<<HTML
<h1>{$show(vpopmail_error())}</h1>
<p>vpopmail_add_user() is text here</p>
HTML;
$raw = <<<'TEXT'
vpopmail_del_domain("example.com"); // and here
TEXT;
# vpopmail_del_domain("example.com") is a comment
/* vpopmail_del_domain("example.com"); too */
do {
    $done = @vpopmail_add_domain($next = array_shift($domains), "/home/vpopmail", 89, 89);
} while ($done && $domains);
$messages = [
    'ok' => vpopmail_error() == 'Success',
    'old' => vpopmail_error() == 0,
];
$add = function ($user) use ($domain) {
    return vpopmail_add_user($user, $domain, substr(md5(mt_rand()), 0, 12));
};
echo `vpopmail_error()`;
