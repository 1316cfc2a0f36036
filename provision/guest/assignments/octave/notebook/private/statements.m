function found = statements (code)
  ## A cell's statements with their lines, as Octave takes them when they are typed: the next is
  ## run even if one before was wrong.
  lines = regexp (code, "\n", "split");
  found = {};
  begun = "";
  depth = 0;
  for k = 1:numel (lines)
    begun = [begun lines{k} "\n"];
    depth += ! isempty (regexp (lines{k}, '^\s*[%#]\{\s*$', "once"));
    depth -= depth > 0 && ! isempty (regexp (lines{k}, '^\s*[%#]\}\s*$', "once"));
    if (depth == 0 && is_whole (begun))
      found{end+1} = begun;
      begun = "";
    endif
  endfor
  if (! isempty (begun))
    found{end+1} = begun;
  endif
endfunction

function is = is_whole (code)
  ## Whether a text can be read. One that defines a function can also be if its end is yet to come.
  name = function_of (code);
  if (isempty (name))
    is = is_read (["function __cell__ ()\n" code "\nendfunction"], "__cell__");
  else
    is = is_read (code, name) && ! is_read ([code "\nendfunction"], name);
  endif
endfunction

function is = is_read (definition, name)
  ## Whether a text can be read; what it defines is forgotten.
  is = true;
  try
    eval (definition);
    clear ("-f", name);
  catch
    is = false;
  end_try_catch
endfunction
