function text = reason_of (e)
  ## What an error says. One without words has failed as well.
  text = e.message;
  if (isempty (text))
    text = "error";
  endif
endfunction
