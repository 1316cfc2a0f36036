function note_look (values)
  for each = values
    if (! is_function_handle (each{1}) && isempty (each{1}))
      kept ("looks", kept ("looks") + 1);
      return;
    endif
  endfor
endfunction
