function f = stand_in (number)
  ## What is here for a function of the other side's.
  other = @call_other;
  f = @(varargin) other (number, varargin{:});
endfunction
