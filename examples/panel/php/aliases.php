<?php
require 'common.php';

// Only addresses: a line may also run a program.
function is_address($text)
{
    return preg_match('/^[A-Za-z0-9.!#$%*+\/=?^_`{}~-]+@[A-Za-z0-9][A-Za-z0-9.-]*\z/', $text);
}

if ($_SERVER['REQUEST_METHOD'] == 'POST') {
    $alias = strtolower(field('alias'));
    if (!is_name($alias) || $alias == 'default') {
        die('An alias is of letters, digits, dots, hyphens and underscores.');
    }
    if (field('do') == 'delete') {
        $lines = vpopmail_alias_get($alias, $domain);
        foreach ($lines as $line) {
            if ($line[0] != '&') die('The administrator of the server made this alias.');
        }
        done('aliases.php', @vpopmail_alias_del($alias, $domain), "$alias@$domain was deleted.");
    }
    $address = field('address');
    if (!is_address($address)) {
        die('An alias forwards to a mail address.');
    }
    $result = @vpopmail_alias_add($alias, $domain, '&' . $address);
    done('aliases.php', $result, "$alias@$domain forwards to $address.");
}
head("Aliases of $domain");

$aliases = vpopmail_alias_get_all($domain);
if ($aliases == false) {
    echo '<p>There is no alias.';
}
?>
<table>
<?php foreach ($aliases as $alias => $lines): ?>
  <tr>
    <td><?= h("$alias@$domain") ?>
    <td><?= implode('<br>', array_map('h', $lines)) ?>
    <td><form method="post">
      <?= token() ?><input type="hidden" name="do" value="delete">
      <input type="hidden" name="alias" value="<?= h($alias) ?>"><button>Delete</button>
    </form>
<?php endforeach; ?>
</table>
<h2>Add an alias</h2>
<form method="post">
  <?= token() ?>
  <p>Alias <input name="alias">@<?= h($domain) ?>
  <p>Forwards to <input name="address">
  <p><button>Add</button>
</form>
