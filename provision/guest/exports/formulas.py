"""TeX to SVG: MathJax, in a small JavaScript engine, so that a page needs neither.

What an exported page would load from a network is done once, here. MathJax comes with the wheel
``django-static-mathjax`` (its files only), the engine is QuickJS.
"""

import functools
import json
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

MEMORY = 256 << 20  # bytes that the engine may use
SECONDS = 10  # that one formula may take
PARTS = (
    *("loader.js", "core.js", "adaptors/liteDOM.js", "input/tex-full.js"),
    *("output/svg.js", "output/svg/fonts/tex.js"),
)
BEFORE = """
var global = globalThis, console = {log() {}, warn() {}, error() {}};
var MathJax = {startup: {typeset: false}};
"""
# A typist's name for each thing in MathJax 3, as its own node demos have them.
AFTER = """
var M = MathJax._, adaptor = M.adaptors.liteAdaptor.liteAdaptor();
M.handlers.html_ts.RegisterHTMLHandler(adaptor);
var font = new M.output.svg.fonts.tex_ts.TeXFont();
var packages = M.input.tex.AllPackages.AllPackages.filter(each => each !== "bussproofs");
function set(text, display) {
  const tex = new M.input.tex_ts.TeX({packages: packages});
  const svg = new M.output.svg_ts.SVG({fontCache: "none", font: font});
  const page = M.mathjax.mathjax.document("", {InputJax: tex, OutputJax: svg});
  const size = {em: 16, ex: 8, containerWidth: 960};
  return adaptor.innerHTML(page.convert(text, {display: display, ...size}));
}
"""
# What a notebook's page takes for a formula.
FORMULA = re.compile(
    r"""(?<!\\)\$\$(?P<a>.+?)(?<!\\)\$\$
    | (?<![\\$])\$(?![\s$])(?P<b>[^$]*?[^$\s\\])\$(?!\d)
    | \\\((?P<c>.+?)\\\)
    | \\\[(?P<d>.+?)\\\]
    | (?P<e>\\begin\{(?P<name>[a-zA-Z]+\*?)\}.+?\\end\{(?P=name)\})""",
    re.DOTALL | re.VERBOSE,
)


def split(text: str) -> Iterator[tuple[str, bool | None]]:
    """A text's parts in their order.

    Args:
        text: of a page, without markup.

    Yields:
        Words and None; or a formula and whether it stands on lines of its own.
    """
    begun = 0
    for found in FORMULA.finditer(text):
        if words := text[begun : found.start()]:
            yield words, None
        display = found.lastgroup != "b" and not found["c"]
        yield next(found[name] for name in "abcde" if found[name]), display
        begun = found.end()
    if words := text[begun:]:
        yield words, None


class Setter:
    """MathJax; beginning takes most of a second, a formula a few hundredths."""

    def __init__(self) -> None:
        from quickjs import Context  # type: ignore[import-not-found]  # noqa: PLC0415

        spec = find_spec("mathjax")
        if spec is None or spec.origin is None:
            raise RuntimeError("MathJax is not installed")
        root = Path(spec.origin).parent / "static/mathjax/es5"
        self._engine = Context()
        self._engine.set_memory_limit(MEMORY)
        self._engine.set_max_stack_size(4 << 20)
        self._engine.eval(BEFORE)
        for part in PARTS:
            self._engine.eval((root / part).read_text())
        self._engine.eval(AFTER)
        self.set = functools.cache(self._set)

    def _set(self, formula: str, display: bool) -> str:
        self._engine.set_time_limit(SECONDS)
        words = ", ".join(map(json.dumps, (formula, display)))
        return str(self._engine.eval(f"set({words})"))
