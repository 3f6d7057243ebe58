<?php
$version = '1.2'; // the panel's
function href($page) { return "index.php?page=" . urlencode($page); }
?>
<p>Nothing of vpopmail here.</p>
