"""What ``vpopmail-ext migrate`` tells of PHP files, and the sketches that it writes."""

from __future__ import annotations

import importlib
import json
import re
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vpopmail_ext import cli
from vpopmail_ext.migrate import Findings, Source, sketch
from vpopmail_ext.migrate.functions import FUNCTIONS

TOP = Path(__file__).parents[2]
CORPUS = TOP / "tests/migrate/corpus"
EXPECTED = TOP / "tests/migrate/expected"
FILES = sorted(CORPUS.iterdir())

Run = Callable[..., str]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command in the corpus's directory; return what it prints, to standard error too."""
    monkeypatch.chdir(CORPUS)

    def command(*arguments: object, code: int = 0) -> str:
        capsys.readouterr()
        assert cli.main(["migrate", *map(str, arguments)]) == code
        printed = capsys.readouterr()
        return printed.out + printed.err

    return command


def look(php: str | bytes) -> list[str]:
    """Return what is told of a piece of PHP: the Python forms, and the kinds of changes."""
    data = b"<?php " + (php.encode() if isinstance(php, str) else php)
    found = Findings(Source("x.php", data)).listed()
    return [
        text
        for finding in found
        for text in (finding.python, *(change.kind for change in finding.changes))
        if text
    ]


def sketch_of(php: str) -> str:
    source = Source("x.php", b"<?php " + php.encode())
    return sketch(source, Findings(source)) or ""


def code_of(php: str) -> list[str]:
    """Return the statements of a sketch's page, without what is always there."""
    _, _, page = sketch_of(php).partition("\ndef page():\n")
    lines = (text.removeprefix("    ") for text in page.splitlines())
    return [text for text in lines if text and not re.match(" *#", text)]


# --- the corpus -----------------------------------------------------------------------------------


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.name)
def test_each_file_of_the_corpus(file: Path, run: Run, tmp_path: Path) -> None:
    expected = (EXPECTED / f"{file.name}.txt").read_text()
    code = 1 if "\tunread\t" in expected else 0
    assert run(file.name, code=code) == expected
    run(file.name, "--write", "--output", tmp_path, code=code)
    written = tmp_path / file.with_suffix(".py").name
    assert written.exists() == ("\tvpopmail_" in expected and "\tpython\tvpopmail_" in expected)
    if written.exists():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            compile(written.read_text(), written, "exec")
    sketched = EXPECTED / f"{file.name}.py.txt"
    if sketched.exists():
        assert written.read_text() == sketched.read_text()


def test_the_corpus_has_all_functions_and_changes() -> None:
    told = "".join(path.read_text() for path in EXPECTED.glob("*.txt"))
    assert [name for name in FUNCTIONS if f"\t{name}(" not in told] == []
    document = (TOP / "docs/commands/migrate.md").read_text()
    kinds = set(re.findall(r"^\| `(\w+)` \|", document, re.M))
    rows = "".join(path.read_text() for path in EXPECTED.glob("*.*.txt") if ".py" not in path.name)
    assert {row.split("\t")[1] for row in rows.splitlines()} == {"python", "api"} | kinds


def test_every_call_of_a_file_is_in_its_sketch() -> None:
    for file in FILES:
        source = Source(file.name, file.read_bytes())
        findings = Findings(source)
        text = sketch(source, findings) or ""
        for call in findings.calls.values():
            assert call.function in text


def test_what_a_result_is_held_against() -> None:
    php = "<?php $r = vpopmail_del_domain($d); if ($r === true) { $r = vpopmail_del_domain($e); }"
    first, _ = Findings(Source("x.php", php.encode())).listed()
    assert first.changes[0].text.startswith("`=== true` is `is True`")


def test_the_panel_in_php(run: Run, tmp_path: Path) -> None:
    panel = sorted((TOP / "examples/panel/php").glob("*.php"))
    told = run("--write", "--output", tmp_path, *panel)
    missing = [name for name in FUNCTIONS if f"python\t{name}(" not in told]
    assert [name for name in missing if "domain" not in name] == []
    for file in panel:
        called = file.name != "sign_out.php"
        assert (tmp_path / file.with_suffix(".py").name).exists() == called


mutations = st.lists(
    st.tuples(
        st.floats(0, 1),
        st.integers(0, 30),
        st.sampled_from([b"", *b"( ) { } ' \" $ ?> @ :: -> \x00 \xff \xc3 \r [ ] ... fn".split()]),
    ),
    max_size=5,
)


@settings(max_examples=60, deadline=None)
@given(file=st.sampled_from(FILES), changed=mutations)
def test_files_that_are_no_php_any_more(
    file: Path, changed: list[tuple[float, int, bytes]]
) -> None:
    data = file.read_bytes()
    for place, length, new in changed:
        start = int(place * len(data))
        data = data[:start] + new + data[start + length :]
    source = Source("x.php", data)
    findings = Findings(source)
    findings.listed()
    text = sketch(source, findings)
    assert (text is None) == (not findings.calls)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        compile((text or "").encode(), "x.py", "exec")


# --- calls ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("php", "told"),
    [
        ("VPOPMAIL_ERROR();", ["vpopmail_error()", "error"]),
        ("\\vpopmail_del_user($a, $b);", ["vpopmail_del_user(a, b)"]),
        ("namespace\\vpopmail_del_user($a, $b);", ["vpopmail_del_user(a, b)"]),
        ("Mine\\vpopmail_del_user($a, $b);", []),
        ("$o->vpopmail_del_user($a, $b); A::vpopmail_error();", []),
        ("use function vpopmail_error as e; E();", ["vpopmail_error()", "error"]),
        ("use function mine as e; e();", []),
        ("$x = 'vpopmail_error'; $x = 'mine'; $x();", ["vpopmail_error", "variable"]),
        ("$x['f'](); (function () {})(); f()();", []),
        ("call_user_func('mine'); call_user_func($f); call_user_func();", []),
        ("call_user_func_array('vpopmail_error');", ["vpopmail_error()", "variable", "error"]),
        ("extension_loaded('mysql'); dl('mysql.so'); ini_get('memory_limit');", []),
        ("ini_set('error_log', $x);", ["warnings"]),
        ("echo 'vpopmail_ is a prefix';", []),
        ("echo 'vpopmail_add_user(): ' . $text;", []),
        ('echo "vpopmail_add_user: $text";', []),
        ("function vpopmail_error() {}", ["own"]),
        ("vpopmail_nothing(1);", ["vpopmail_nothing(1)", "unknown"]),
        ("if (!vpopmail_nothing()) {}", ["vpopmail_nothing()", "unknown"]),
        ("vpopmail_error(", ["unread", "unread"]),
    ],
)
def test_calls(php: str, told: list[str]) -> None:
    assert sorted(look(php)) == sorted(told)


@pytest.mark.parametrize(
    ("php", "told"),
    [
        ("@vpopmail_error($x = 1)", {"suppressed", "error", "arguments"}),
        ("@f(vpopmail_del_domain($d))", {"suppressed"}),
        ("f(@g(), vpopmail_del_domain($d))", set()),
        ("vpopmail_del_domain(($d))", set()),
        ("vpopmail_del_domain('a' . 'b')", {"converted"}),
        ('vpopmail_del_domain("a\\tb")', set()),
        ("vpopmail_del_domain((int) $d)", set()),
        ("vpopmail_del_domain(addslashes($d))", {"shell"}),
        ("vpopmail_del_domain('x' . ESCAPESHELLARG($d))", {"shell", "converted"}),
        ("vpopmail_del_domain(...$d)", set()),
        ("$ok = vpopmail_del_domain($d) and print 1", set()),
        ("count(vpopmail_del_domain($d))", set()),
        ("is_array(vpopmail_alias_get($a, $d))", {"iterated"}),
        ("vpopmail_del_domain($d) == vpopmail_del_domain($d)", {"compared"}),
        ("-vpopmail_del_domain($d)", set()),
        ("$ok =& vpopmail_del_domain($d); if ($ok == 1) {}", {"compared"}),
        ("if (($ok =& vpopmail_del_domain($d)) == 1) {}", {"compared"}),
        ("$ok = vpopmail_del_domain($d); $ok = f(); if ($ok == 1) {}", set()),
    ],
)
def test_changes(php: str, told: set[str]) -> None:
    assert {text for text in look(php + ";") if "(" not in text} == told


# --- expressions ----------------------------------------------------------------------------------


EXPRESSIONS = r"""
TRUE ==> True
null ==> None
0755 ==> 0o755
0 ==> 0
0x1F ==> 0x1f
1_000 ==> 1_000
1.5e3 ==> 1.5e3
'it\'s' ==> "it's"
'a\\b' ==> "a\\b"
'a\n' ==> "a\\n"
"\x41\101\u{e9}\e\q\$" ==> "AAé\u001b\\q$"
"\u{110000}" ==> "\\u{110000}"
"$a[key] $b[0] {$c['k']}" ==> f"{a['key']} {b[0]} {c['k']}"
"a ${d}" ==> "a " + str(php("${d}"))
$a . 'x' . "y\n" . 1 ==> f"{a}xy\n{1}"
$a . "b $c" . 'd' ==> f"{a}b {c}d"
'{' . $a . '}' ==> f"{{{a}}}"
'a' . 'b' ==> "ab"
$this->x ==> self.x
$class ==> class_
$o->from ==> o.from_
$o->$p ==> php("$o->$p")
$o?->p ==> php("$o?->p")
$a['x'][0][$b] ==> a['x'][0][b]
$a["it's"] ==> a["it's"]
$a[] ==> php("$a[]")
!$a ==> not a
-$a ==> -a
~$a ==> ~a
$a == $b && $c || !($d <> 1) ==> ((a == b) and c) or (not (d != 1))
$a === null ==> a is None
$a !== 'x' ==> a != "x"
null === null ==> None == None
$a xor $b ==> php("$a xor $b")
$a ?? $b ==> php("$a ?? $b")
$a ? $b : $c ==> b if a else c
$a ?: $c ==> a or c
(bool) $a ==> bool(a)
f((string) $a, (int) $a) ==> f(a, php("(int) $a"))
new A($b) ==> A(b)
new self ==> php("new self")
new $k ==> php("new $k")
new A\B ==> php("new A\\B")
A::B ==> A.B
A::f(1) ==> A.f(1)
$x::f() ==> php("$x::f()")
$x::Y ==> php("$x::Y")
A::$b ==> php("A::$b")
$o->m(...$a) ==> o.m(*a)
$o->$m() ==> php("$o->$m()")
exec($a) ==> php("exec($a)")
isset($a) ==> php("isset($a)")
empty($a) ==> not a
sizeof($a) ==> len(a)
$f($a) ==> php("$f($a)")
A\f(1) ==> php("A\\f(1)")
\f(1) ==> f(1)
array(1, 'a') ==> [1, "a"]
['k' => 1] ==> {"k": 1}
[1, 'k' => 2] ==> php("[1, 'k' => 2]")
[] ==> []
PHP_EOL ==> "\n"
\FOO ==> FOO
NONE ==> NONE
$$a ==> php("$$a")
`ls` ==> php("`ls`")
extension_loaded('vpopmail') ==> True
is_callable($f) ==> is_callable(f)
($x = 1) ==> ((x := 1))
($x['a'] = 1) ==> (php("$x['a'] = 1"))
vpopmail_error() == false ==> vpopmail_error() == False
false != vpopmail_del_domain(1) ==> bool(vpopmail_del_domain(1))
vpopmail_del_domain($d) == null ==> not vpopmail_del_domain(d)
true == vpopmail_del_domain($d) ==> bool(vpopmail_del_domain(d))
vpopmail_del_domain($d) == $e ==> vpopmail_del_domain(d) == e
$é ==> é
print 'x' ==> print("x", end="")
fn() => 1 ==> php("fn() => 1")
/* c */ 1 ==> 1
(/* c */ $a) ==> (a)
"""


@pytest.mark.parametrize("line", EXPRESSIONS.strip().splitlines())
def test_expressions(line: str) -> None:
    php, _, python = line.partition(" ==> ")
    told = Findings(Source("x.php", f"<?php vpopmail_passwd({php});".encode())).listed()
    assert told[0].python == f"vpopmail_passwd({python})"


def test_an_expression_of_many_parts() -> None:
    assert "php(" in look("vpopmail_del_domain(" + "(" * 50 + "1" + ")" * 50 + ");")[0]
    assert look("vpopmail_del_domain(" + "$a ." * 300 + "1);")[0].startswith(
        'vpopmail_del_domain(f"{a}{a}{a}'
    )


@pytest.mark.parametrize(
    ("php", "api"),
    [
        ("vpopmail_add_user($a, $b, $c, $d, true)", "api.add_user(a, b, c, gecos=d, apop=True)"),
        ("vpopmail_add_domain($a, $b, 89, 89)", "api.add_domain(a, directory=b, uid=89, gid=89)"),
        ("vpopmail_add_domain($a, $b, '89', 89)", None),
        ("vpopmail_alias_get($a, $b)", "api.alias(a, b).lines"),
        ("vpopmail_del_domain(12)", None),
        ("vpopmail_del_domain(...$a)", None),
        ("vpopmail_del_domain(domain: $a)", None),
        ("vpopmail_del_domain(1 + 2)", None),
        ("vpopmail_del_domain($a . 'b')", 'api.delete_domain(f"{a}b")'),
        ("vpopmail_del_domain()", None),
        ("vpopmail_error()", None),
        ("vpopmail_nothing($a)", None),
        ("call_user_func_array('vpopmail_del_domain', $a)", None),
        ("call_user_func_array('vpopmail_del_domain', array($a))", "api.delete_domain(a)"),
        ("call_user_func_array('vpopmail_del_domain', array('k' => $a))", None),
    ],
)
def test_the_api_s_form(php: str, api: str | None) -> None:
    (found,) = Findings(Source("x.php", f"<?php {php};".encode())).listed()
    assert found.api == api


E = "    vpopmail_error()"

# --- sketches -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("php", "code"),
    [
        (
            "if (a()) vpopmail_error(); elseif ($b) { f(); } else vpopmail_error();",
            [
                "if a():",
                "    vpopmail_error()",
                "elif b:",
                "    pass",
                "else:",
                "    vpopmail_error()",
            ],
        ),
        (
            "switch ($a) { case 1: vpopmail_error(); break; case 2: default: vpopmail_error(); }",
            ["if a == 1:", E, "if a == 2:", "    pass", 'if php("default:"):', E],
        ),
        (
            "foreach (vpopmail_alias_get($a, $b) as $k => $v) {}",
            ["for k, v in enumerate(vpopmail_alias_get(a, b)):", "    pass"],
        ),
        (
            "foreach (vpopmail_alias_get_all($a) as $k => $v) {}",
            ["for k, v in vpopmail_alias_get_all(a).items():", "    pass"],
        ),
        (
            "foreach ($x as $v->y[1]) vpopmail_error();",
            ["for v.y[1] in x:", "    vpopmail_error()"],
        ),
        ("$a['x'] = vpopmail_error();", ["a['x'] = vpopmail_error()"]),
        ("$a[] = vpopmail_error();", ['php("$a[] = vpopmail_error()")', "vpopmail_error()"]),
        (
            "list($a) = f(vpopmail_error());",
            ['php("list($a) = f(vpopmail_error())")', "vpopmail_error()"],
        ),
        ("$a .= vpopmail_error();", ['php("$a .= vpopmail_error()")', "vpopmail_error()"]),
        ("return vpopmail_error();", ["return vpopmail_error()"]),
        ("exit(vpopmail_error());", ["sys.exit(vpopmail_error())"]),
        ("echo 1, vpopmail_error();", ['print(1, vpopmail_error(), sep="", end="")']),
        ("?><?= vpopmail_error() ?>", ['print(vpopmail_error(), end="")']),
        ("namespace A { vpopmail_error(); }", ["vpopmail_error()"]),
        (
            "unset($a[vpopmail_error()]);",
            ['php("unset($a[vpopmail_error()]);")', "vpopmail_error()"],
        ),
        (
            "for ($i = vpopmail_error(); ; ) { vpopmail_error(); }",
            ['if php("for ($i = vpopmail_error(); ; )"):', E, E],
        ),
        ("while (f()) { f(); } vpopmail_error();", ["vpopmail_error()"]),
        (
            "switch (vpopmail_error()) { case 'x': f(); }",
            ["switch = vpopmail_error()", 'if switch == "x":', "    pass"],
        ),
        ("?>\n \n<?php vpopmail_error();", ["vpopmail_error()"]),
        ("if ($a) " * 1500 + "vpopmail_error();", ["pass"]),
    ],
)
def test_statements(php: str, code: list[str]) -> None:
    assert code_of(php) == code


def test_definitions() -> None:
    text = sketch_of(
        "function f(&$a, $class = 1, ...$rest) { vpopmail_error(); }\n"
        "function g($a, $a) { vpopmail_error(); }\n"
        "class K { static function s() { vpopmail_error(); }\n"
        "function m($x) { return vpopmail_error(); } }"
    )
    assert "def f(a, class_=1, *rest):" in text
    assert "def _(*arguments):" in text
    assert "    @staticmethod\n" in text
    assert "    def m(self, x):\n" in text
    assert "def page" not in text


def test_a_sketch_says_what_it_is() -> None:
    text = sketch_of("@vpopmail_del_domain($d);")
    assert text.startswith('"""Sketch of the calls in x.php, ')
    assert 'warnings.simplefilter("ignore", VpopmailWarning)' in text
    assert "import sys" not in text
    assert "import vpopmail" not in sketch_of("vpopmail_nothing();")
    assert "warnings" not in sketch_of("vpopmail_del_domain($d);")
    with pytest.raises(NotImplementedError, match="isset"):
        exec(sketch_of("if (isset($d)) vpopmail_del_domain($d);") + "page()", {})


# --- the command ----------------------------------------------------------------------------------


def test_json(run: Run) -> None:
    found = json.loads(run("--json", "add_user.php", "auth.inc"))
    assert found[0] == {
        "file": "add_user.php",
        "line": 9,
        "function": "vpopmail_add_user",
        "php": "vpopmail_add_user($user, $domain, $pass, $gecos)",
        "python": "vpopmail_add_user(user, domain, pass_, gecos)",
        "api": "api.add_user(user, domain, pass_, gecos=gecos)",
        "changes": [
            {"kind": kind, "text": text}
            for kind, text in (
                ("suppressed", found[0]["changes"][0]["text"]),
                ("compared", found[0]["changes"][1]["text"]),
            )
        ],
    }
    assert found[-1]["file"] == "auth.inc"
    assert json.loads(run("--json", "empty.php")) == []


def test_writing(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    for name in ("a/one.php", "a/b/two.php", "a/none.php"):
        (tmp_path / name).write_text("<?php vpopmail_error();" if "n.p" not in name else "")
    (tmp_path / "a/none.php").write_text("no call")
    files = [tmp_path / name for name in ("a/one.php", "a/b/two.php", "a/none.php")]
    assert f"{files[0]} -> {tmp_path}/a/one.py" in run("--write", *files)
    assert (tmp_path / "a/b/two.py").exists()
    assert not (tmp_path / "a/none.py").exists()
    run("--write", "--output", tmp_path / "new", *files)
    assert "vpopmail_error()" in (tmp_path / "new/b/two.py").read_text()
    assert (tmp_path / "new/one.py").exists()


def test_no_file_is_overwritten_without_a_word(run: Run, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.php").write_text("<?php vpopmail_error();")
    (tmp_path / "kept").write_text("mine")
    (tmp_path / "two.py").symlink_to(tmp_path / "kept")
    files = [tmp_path / "one.php", tmp_path / "two.php"]
    message = run("--write", *files, code=4)
    assert (
        message == f"vpopmail-ext: {tmp_path}/two.py is there already; to replace it, add --force\n"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "kept",
        "one.php",
        "two.php",
        "two.py",
    ]
    run("--write", "--force", *files)
    assert not (tmp_path / "two.py").is_symlink()
    assert (tmp_path / "kept").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.glob("*.py")) == ["one.py", "two.py"]


def test_two_files_of_one_name(run: Run, tmp_path: Path) -> None:
    for name in ("one.php", "one.inc"):
        (tmp_path / name).write_text("<?php vpopmail_error();")
    files = [tmp_path / "one.php", tmp_path / "one.inc"]
    assert f"would both be {tmp_path}/one.py" in run("--write", *files, code=2)
    assert not (tmp_path / "one.py").exists()
    run("--write", files[0], files[0])


def test_wrong_usage(run: Run, tmp_path: Path) -> None:
    assert "--output and --force are for --write" in run("--force", "add_user.php", code=2)
    assert "No such file" in run("nothing.php", code=7)
    assert "Is a directory" in run(tmp_path, code=7)


def test_without_the_extra(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("vpopmail_ext.migrate")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tree_sitter_php", None)
    message = run("add_user.php", code=2)
    assert "pip install 'vpopmail_ext[migrate]'" in message
    importlib.import_module("vpopmail_ext.cli.migrate")
