function varargout = call_other (what, varargin)
  ## Call a function of the other side's, by its number.
  varargout = ask ("call", what, nargout, varargin);
  for each = varargout(1:min (1, end))
    note_nothing (each{1});
  endfor
endfunction
