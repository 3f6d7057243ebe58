<?php
require 'common.php';

if ($_SERVER['REQUEST_METHOD'] == 'POST') {
    session_destroy();
    header('Location: sign_in.php');
    exit;
}
