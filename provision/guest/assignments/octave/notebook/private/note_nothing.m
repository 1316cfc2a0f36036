function note_nothing (value)
  ## Note that something of the notebook's is empty.
  if (! is_function_handle (value) && isempty (value))
    kept ("nothings", kept ("nothings") + 1);
  endif
endfunction
