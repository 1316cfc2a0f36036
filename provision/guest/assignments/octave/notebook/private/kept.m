function value = kept (name, value)
  ## What is kept while functions come and go: an interrupt takes all of them away, and `clear all`
  ## what they know.
  persistent all_of_it = struct ();
  mlock ();
  if (nargin == 2)
    all_of_it.(name) = value;
  elseif (isfield (all_of_it, name))
    value = all_of_it.(name);
  else
    value = [];
  endif
endfunction
