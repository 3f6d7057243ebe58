<?php
require 'common.php';

if ($_SERVER['REQUEST_METHOD'] == 'POST') {
    $given = strtolower(field('domain'));
    if (vpopmail_auth_user('postmaster', $given, given('password')) == true) {
        session_regenerate_id(true);
        $_SESSION['domain'] = $given;
        header('Location: index.php');
        exit;
    }
    $_SESSION['said'] = 'There is no such domain, or the password is another.';
}
head('Sign in');
?>
<form method="post">
  <?= token() ?>
  <p>Domain <input name="domain">
  <p>Password of its postmaster <input name="password" type="password">
  <p><button>Sign in</button>
</form>
