function name = function_of (code)
  ## The function that a statement defines; none: it defines none.
  found = regexp (code, ['^(?:\s|[%#][^\n]*\n)*function\s+(?:(?:\[[^\]]*\]|\w+)\s*=\s*)?(\w+)'], ...
                  "tokens", "once");
  name = "";
  if (! isempty (found))
    name = found{1};
  endif
endfunction
