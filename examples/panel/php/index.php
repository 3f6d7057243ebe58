<?php
require 'common.php';

if ($_SERVER['REQUEST_METHOD'] == 'POST') {
    $user = strtolower(field('user'));
    if (!is_name($user)) {
        die('A user name is of letters, digits, dots, hyphens and underscores.');
    }
    $result = @vpopmail_add_user($user, $domain, given('password'), field('gecos'));
    if ($result === true && field('quota') != '') {
        if (!is_name($user)) {
        die('A user name is of letters, digits, dots, hyphens and underscores.');
    }
    $result = @vpopmail_set_user_quota($user, $domain, (int) field('quota') . 'M');
    }
    done('index.php', $result, "$user@$domain was added.");
}
head("Users of $domain");

// The extension has no function that lists users.
?>
<table>
<?php foreach (file(DOMAINS . "/$domain/vpasswd") as $line): ?>
  <?php list($user, , , , $gecos, , $quota) = explode(':', rtrim($line)); ?>
  <tr>
    <td><a href="user.php?user=<?= h(urlencode($user)) ?>"><?= h("$user@$domain") ?></a>
    <td><?= h($gecos) ?>
    <td><?= h($quota) ?>
<?php endforeach; ?>
</table>
<h2>Add a user</h2>
<form method="post">
  <?= token() ?>
  <p>User <input name="user">@<?= h($domain) ?>
  <p>Name <input name="gecos">
  <p>Password <input name="password" type="password">
  <p>Quota <input name="quota" size="5"> MB
  <p><button>Add</button>
</form>
