function varargout = call_other (what, varargin)
  ## Call a function of the other side's, by its number.
  varargout = ask ("call", what, nargout, varargin);
  for k = 1:numel (varargout)
    varargout{k} = received (varargout{k});
  endfor
endfunction
