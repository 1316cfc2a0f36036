function values = call_notebook (name, count, arguments)
  ## What stands for a function of the notebook's does this. Where its name is one of Octave's own,
  ## Octave's own functions still find that: what they do is no student's to say.
  if (is_octave_calling (dbstack ()))
    values = cell (1, max (count, 1));
    [values{:}] = builtin (name, arguments{:});
  else
    values = ask ("call", name, count, arguments);
    if (count == 1)
      note_nothing (values{1});
    endif
  endif
endfunction

function is = is_octave_calling (stack)
  ## The first is this, the second the stand-in, and the third who called it.
  is = numel (stack) > 2 && ! isempty (stack(3).file) ...
       && ! strcmp (fileparts (stack(3).file), fileparts (stack(1).file));
endfunction
