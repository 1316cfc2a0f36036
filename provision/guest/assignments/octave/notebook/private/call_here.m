function values = call_here (f, count, arguments)
  ## The values of a function, as many as are wanted; if none are, that which it gives all the same.
  values = cell (1, count);
  if (count)
    [values{:}] = f (arguments{:});
  else
    f (arguments{:});
    if (exist ("ans", "var"))
      values = {ans};
    endif
  endif
endfunction
