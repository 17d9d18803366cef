"""Programs in the languages that this machine has."""

from __future__ import annotations

import sys

import pytest

from herd.core.errors import SandboxError
from herd.sandbox.languages import toolchains
from herd.sandbox.limits import Limits, Program
from herd.sandbox.server import SandboxServer

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="walls of Linux")
SUMS = {
    "javascript": "const [a, b] = require('fs').readFileSync(0, 'utf8').trim().split(' ').map(Number);\n"
    "console.log(a + b, process.argv[2]); process.exit(3)",
    "typescript": "const n: number = 5;\nconsole.log(n, process.argv[2]); process.exit(3)",
    "c": '#include <stdio.h>\nint main(int n, char **v) { int a, b; scanf("%d %d", &a, &b); '
    'printf("%d %s\\n", a + b, v[1]); return 3; }',
    "cpp": "#include <iostream>\nint main(int n, char **v) { int a, b; std::cin >> a >> b; "
    "std::cout << a + b << ' ' << v[1] << std::endl; return 3; }",
    "rust": "use std::io::Read;\nfn main() { let mut s = String::new();\n"
    "std::io::stdin().read_to_string(&mut s).unwrap();\n"
    "let n: i32 = s.split_whitespace().map(|x| x.parse::<i32>().unwrap()).sum();\n"
    'println!("{} {}", n, std::env::args().nth(1).unwrap()); std::process::exit(3) }',
    "go": 'package main\nimport ("fmt"; "os")\nfunc main() { var a, b int; fmt.Scan(&a, &b); '
    "fmt.Println(a+b, os.Args[1]); os.Exit(3) }",
    "java": "import java.util.*;\npublic class Sum { public static void main(String[] v) {\n"
    "Scanner s = new Scanner(System.in);"
    ' System.out.println((s.nextInt() + s.nextInt()) + " " + v[0]); System.exit(3); } }',
}


@pytest.mark.parametrize("language", SUMS)
def test_a_program_is_compiled_and_run_or_its_language_is_said_to_be_missing(
    language: str, server: SandboxServer
) -> None:
    program = Program(SUMS[language], language, "2 3\n", arguments=("arg",))
    if toolchains()[language] is None:
        with pytest.raises(SandboxError, match="this machine has no"):
            server.run_program(program)
        pytest.skip(f"no {language} here")
    result = server.run_program(program)
    assert (result.stdout, result.exit_code, result.reason) == ("5 arg\n", 3, ""), result


@pytest.mark.skipif(toolchains()["c"] is None, reason="no C compiler")
def test_what_is_wrong_is_the_programs_fault(server: SandboxServer) -> None:
    wrong = server.run_program(Program("int main(void) { return x; }", "c"))
    assert wrong.exit_code is None
    assert not wrong.void
    assert wrong.reason.startswith("it does not compile: main.c") or "error" in wrong.reason
    assert server.run_program(Program("#include <stdlib.h>\nint main(void) { abort(); }", "c")).exit_code == -6
    loop = server.run_program(Program("int main(void) { for (;;); }", "c"), Limits(cpu_seconds=1))
    assert (loop.exit_code, loop.void, loop.reason) == (None, False, "it used more than 1 s of processor time")


@pytest.mark.skipif(toolchains()["javascript"] is None, reason="no node")
def test_memory_is_limited_where_addresses_are_not(server: SandboxServer) -> None:
    code = "const rows = []; for (;;) rows.push(Buffer.alloc(1 << 22, 1));"
    result = server.run_program(Program(code, "javascript"), Limits(memory_bytes=300 << 20))
    assert result.exit_code not in (0, None) or (result.reason and not result.void)
