<?php
/* Aliases of one domain, as a table. */

function lines_of($alias)
{
    global $domain;
    $lines = vpopmail_alias_get($alias, $domain);
    if ($lines === false || count($lines) == 0) {
        return "(none)";
    }
    foreach ($lines as $number => $line) {
        $lines[$number] = htmlspecialchars($line);
    }
    return implode("<br>", $lines);
}

$all = vpopmail_alias_get_all($domain);
if ($all == false) {
    print "<p>no aliases</p>";
}
foreach ($all as $name => $lines) {
    print "<tr><td>$name</td><td>" . lines_of($name) . "</td></tr>\n";
}
foreach (vpopmail_alias_get_all("other.example") as $lines) print count($lines);

// PHP 4 had no other way to go through an array from within.
$again = vpopmail_alias_get_all($domain);
while (list($name, $lines) = each($again)) {
    foreach ($lines as $line)
        if (!vpopmail_alias_add($name, 'copy.example', $line))
            die(vpopmail_error());
}
reset($again);

switch ($_POST['do']) {
    case 'delete':
        vpopmail_alias_del($_POST['alias'], $domain) or die("can't delete: " . vpopmail_error());
        break;
    case 'wipe':
        if (function_exists('vpopmail_alias_del_domain'))
            vpopmail_alias_del_domain($domain);
        break;
    default:
        echo vpopmail_error();
}
