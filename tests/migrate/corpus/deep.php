<?php
// More loops in loops than Python compiles, and an expression of many parts.
foreach ($a as $a) foreach ($b as $b) foreach ($c as $c) foreach ($d as $d) foreach ($e as $e)
foreach ($f as $f) foreach ($g as $g) foreach ($h as $h) foreach ($i as $i) foreach ($j as $j)
foreach ($k as $k) foreach ($l as $l) foreach ($m as $m) foreach ($n as $n) foreach ($o as $o)
foreach ($p as $p) foreach ($q as $q) foreach ($r as $r) foreach ($s as $s) foreach ($t as $t)
foreach ($u as $u) foreach ($v as $v)
    @vpopmail_add_user($u, $v, $a . $b . $c . $d . $e . $f . $g . $h . $i . $j . $k . $l . $m);
