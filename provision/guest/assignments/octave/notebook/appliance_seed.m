function varargout = appliance_seed (name, varargin)
  ## One of Octave's functions of chance, which is of both sides.
  [varargout{1:nargout}] = builtin (name, varargin{:});
  if (nargin == 3 && ischar (varargin{1}))
    ask ("seed", name, varargin);
  elseif (nargout == 0)
    varargout = {builtin(name, varargin{:})};
  endif
endfunction
