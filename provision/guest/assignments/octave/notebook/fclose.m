function varargout = fclose (id)
  ## Octave's own, but for what `all` must not close: the line to who runs the box.
  if (ischar (id) && strcmp (id, "all"))
    closed = 0;
    for each = fopen ("all")'
      if (! is_ours (each))
        builtin ("fclose", each);
      endif
    endfor
  else
    closed = builtin ("fclose", id);
  endif
  if (nargout)
    varargout{1} = closed;
  endif
endfunction

function is = is_ours (id)
  is = false;
  for ours = struct2cell (kept ("streams"))'
    is = is || ours{1} == id;
  endfor
endfunction
