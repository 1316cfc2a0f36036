function varargout = appliance_look (name, varargin)
  ## One of Octave's functions that tell whether something is empty, which is noted.
  varargout = cell (1, max (nargout, 1));
  [varargout{:}] = feval (name, varargin{:});
  note_look (varargin);
endfunction
