function code = bare (code)
  ## A text without its comments, and with nothing in its strings.
  code = regexprep (code, '"(?:\\.|[^"\n\\])*"', '""');
  code = regexprep (code, '(?<![\w)\]}''.])''[^''\n]*''', '""');
  code = regexprep (code, '[%#][^\n]*', "");
endfunction
