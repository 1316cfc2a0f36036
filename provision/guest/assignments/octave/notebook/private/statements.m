function found = statements (code)
  ## A cell's statements with their lines, as Octave takes them when they are typed: the next is
  ## run even if one before was wrong.
  lines = regexp (code, "\n", "split");
  found = {};
  begun = "";
  depth = 0;  # of comments
  open = 0;  # brackets and blocks, by which most lines are known to go on
  for k = 1:numel (lines)
    begun = [begun lines{k} "\n"];
    depth += ! isempty (regexp (lines{k}, '^\s*[%#]\{\s*$', "once"));
    depth -= depth > 0 && ! isempty (regexp (lines{k}, '^\s*[%#]\}\s*$', "once"));
    if (depth == 0)
      open += opened (lines{k});
      if (open <= 0 && is_whole (begun))
        found{end+1} = begun;
        begun = "";
        open = 0;
      endif
    endif
  endfor
  if (! isempty (begun))
    found{end+1} = begun;
  endif
endfunction

function more = opened (line)
  ## By how many brackets and blocks more a line begins than it ends; nearly, and rather by fewer.
  line = bare (line);
  more = count (line, '[[({]') - count (line, '[\])}]');
  line = regexprep (line, '[[({][^][(){}]*[\])}]', "");  # x(end) ends none
  more += count (line, '\<(function|if|for|parfor|while|do|switch|try|unwind_protect)\>');
  more -= count (line, '\<(end\w*|until)\>');
endfunction

function many = count (text, pattern)
  many = numel (regexp (text, pattern));
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
