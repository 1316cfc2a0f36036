#!/bin/bash
# nbconvert --embed-images: whether a picture travels with the page depends on who wrote its tag.
#
# nbconvert 7.17.2. `--embed-images` puts a picture into the HTML page when Markdown names it, `![](f)` or
# `<img src="f">`, in a cell or in an output of the type text/markdown. The same tag in an output of the
# type text/html, as IPython's `HTML` makes it, stays a link to a file that is not sent along. And a picture
# pasted into a cell (an attachment) is there as `![](attachment:f)`, but as `<img src="attachment:f">`,
# which people write to give it a width, it stays a link that no browser knows. The status is 0 and no line
# is printed about either.
. "$(dirname "$0")/lib/said.sh"

venv tool nbconvert==7.17.2
tool/bin/python - <<'P'
import base64
import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
dot = base64.b64encode(b"GIF89a\x01\x00\x01\x00\x00\x00\x00,").decode()
open("dot.gif", "wb").write(base64.b64decode(dot))
pasted = {"dot.gif": {"image/gif": dot}}
tag = '<img id="{}" alt="" src="{}">'
out = lambda kind, word: new_output("display_data", {kind: tag.format(word, "dot.gif")})
book = new_notebook(cells=[
    new_markdown_cell(tag.format("cell", "dot.gif")),
    new_code_cell("", outputs=[out("text/markdown", "markdown"), out("text/html", "html")]),
    new_markdown_cell("![pasted](attachment:dot.gif)", attachments=pasted),
    new_markdown_cell(tag.format("sized", "attachment:dot.gif"), attachments=pasted),
])
nbformat.write(book, "book.ipynb")
P
tool/bin/jupyter-nbconvert --log-level WARN --to html --embed-images book.ipynb > said 2>&1
expect "lines about the picture" "$(grep -c dot.gif said || true)" 0
# source WORD: the beginning of the picture's address
source_of() { grep -oE "<img[^>]*(id|alt)=\"$1\"[^>]*>" book.html | grep -oE 'src="[^";,]*' | cut -c6-; }
expect "a tag in a cell" "$(source_of cell)" data:image/gif
expect "a tag in an output of Markdown" "$(source_of markdown)" data:image/gif
expect "a tag in an output of HTML" "$(source_of html)" dot.gif
expect "a pasted picture" "$(source_of pasted)" data:image/gif
expect "a pasted picture by its tag" "$(source_of sized)" attachment:dot.gif
