<?php
// What all pages of the panel share. The extension, the session, who is signed in, forms.

if (!extension_loaded('vpopmail')) {
    die('The PHP extension vpopmail is not loaded.');
}
ini_set('display_errors', '0'); // warnings go to the log

define('DOMAINS', '/home/vpopmail/domains');

session_name('panel');
session_set_cookie_params(0, '/', '', true, true); // HTTPS only, out of scripts' reach
session_start();
header("Content-Security-Policy: default-src 'none'; form-action 'self'; frame-ancestors 'none'");
header('Cache-Control: no-store');

if (!isset($_SESSION['token'])) {
    $_SESSION['token'] = bin2hex(openssl_random_pseudo_bytes(32));
}
if ($_SERVER['REQUEST_METHOD'] == 'POST'
    && !hash_equals($_SESSION['token'], given('token'))) {
    header('HTTP/1.0 400 Bad Request');
    die('This form is too old. Go back, load the page again.');
}
if (!isset($_SESSION['domain']) && basename($_SERVER['SCRIPT_NAME']) != 'sign_in.php') {
    header('Location: sign_in.php');
    exit;
}
$domain = isset($_SESSION['domain']) ? $_SESSION['domain'] : '';

function h($text)
{
    return htmlspecialchars($text, ENT_QUOTES, 'UTF-8');
}

function given($name)
{
    return isset($_POST[$name]) && is_string($_POST[$name]) ? $_POST[$name] : '';
}

// A value for a line of vpasswd, in which a newline would begin another user.
function field($name)
{
    return trim(preg_replace('/[[:cntrl:]:]/', '', given($name)));
}

// With a slash in it the extension would leave the domain's directory.
function is_name($text)
{
    return preg_match('/^[a-z0-9][a-z0-9._-]*\z/', $text);
}

function token()
{
    return '<input type="hidden" name="token" value="' . h($_SESSION['token']) . '">';
}

// Goes on to a page, and says there what came of it.
function done($page, $result, $text)
{
    $_SESSION['said'] = $result ? $text : vpopmail_error() . '.';
    header('Location: ' . $page);
    exit;
}

function head($title)
{
    echo "<!doctype html>\n<meta charset=\"utf-8\">\n<title>", h($title), "</title>\n";
    if (isset($_SESSION['domain'])) {
        echo '<form method="post" action="sign_out.php">', token(), '<a href="index.php">Users</a> ',
            '<a href="aliases.php">Aliases</a> <button>Sign out</button></form>';
    }
    echo '<h1>', h($title), "</h1>\n";
    if (isset($_SESSION['said'])) {
        echo '<p><b>', h($_SESSION['said']), "</b></p>\n";
        unset($_SESSION['said']);
    }
}
