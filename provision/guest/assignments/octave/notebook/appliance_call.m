function values = appliance_call (name, is_octaves, count, arguments)
  ## What stands for a function of the notebook's does this. Where its name is one of Octave's own,
  ## Octave's functions and ours still find that: what they do is no student's to say.
  if (is_octaves && ! is_of_a_test (dbstack ()))
    values = cell (1, count + (count == 0));
    [values{:}] = builtin (name, arguments{:});
    return;
  endif
  values = ask ("call", name, count, arguments);
  for k = 1:numel (values)
    values{k} = received (values{k});
  endfor
endfunction

function is = is_of_a_test (stack)
  ## The first is this, the second the stand-in, and the third who called it.
  is = builtin ("isempty", stack(3).file);
  for name = {"execute_test", "call_here"}
    is = is || ! builtin ("isempty", builtin ("strfind", stack(3).name, name{1}));
  endfor
endfunction
