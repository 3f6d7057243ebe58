#!/usr/bin/php -q
<?php
if ($argc < 3) {
  print "usage: cron.php DOMAIN PASSWORD\n"; exit(1);
}
set_time_limit(0);
foreach (file("users.txt") as $line) {
  list($user, $gecos) = explode("\t", $line);
  $r = vpopmail_add_user($user, $argv[1], $argv[2], $gecos);
  if (!$r) { fwrite(STDERR, vpopmail_error() . PHP_EOL); $failed++; }
  elseif ($r === true) $added++;
}
exit(vpopmail_del_domain_ex($argv[1]) ? 0 : 1);
