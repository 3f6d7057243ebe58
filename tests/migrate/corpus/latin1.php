<?php
// Geändert, in Latin-1
$name = "Renee";
vpopmail_add_user("renee", "example.com", "Glück-99", 'Renée Müller');
vpopmail_add_user("utf", "example.com", "x\xc3\xa9y-77", "Ã© \u{e9} \$");
$grüße = vpopmail_error();
