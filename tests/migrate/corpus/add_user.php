<html>
<head><title>New mailbox</title></head>
<body bgcolor="#ffffff">
<?
// The old way: register_globals, short tags, an @ before everything.
include("config.inc.php");

if ($submit) {
    if (!@vpopmail_add_user($user, $domain, $pass, $gecos)) {
        echo "<b>Failed: " . vpopmail_error() . "</b>";
    } else if (@vpopmail_set_user_quota($user, $domain, $quota . "M") == false) {
        echo "<b>No quota: ", vpopmail_error(), "</b>";
    } else {
        echo "<b>$user@$domain was added</b>";
    }
}
?>
<form method="post">
  <input name="user"> <input name="pass" type="password">
  <input type="submit" name="submit" value="Add">
</form>
<? if ($debug): ?>
  <pre>vpopmail_add_user(): <?= vpopmail_error() ?></pre>
<? endif; ?>
</body>
</html>
