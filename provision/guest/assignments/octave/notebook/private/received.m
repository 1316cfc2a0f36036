function value = received (value)
  ## A value of the notebook's, as a test gets it: what is empty is noted, and whole numbers are
  ## numbers as all others, unless the teacher speaks of their types. uint8 (0) - 6 is 0, and so
  ## near to what is wanted as it can be.
  note_nothing (value);
  if (! kept ("integers"))
    value = without_types (value);
  endif
endfunction

function value = without_types (value)
  if (isinteger (value) && all (abs (double (value(:))) < flintmax ()))
    value = double (value);
  elseif (iscell (value))
    for k = 1:numel (value)
      value{k} = without_types (value{k});
    endfor
  elseif (isstruct (value))
    for name = fieldnames (value)'
      for k = 1:numel (value)
        value(k).(name{1}) = without_types (value(k).(name{1}));
      endfor
    endfor
  endif
endfunction
