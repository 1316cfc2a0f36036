function message = receive ()
  ## The next message of the other side's, or of who runs the box; one that is none has no fields.
  ## `fgetl` waits for what follows a line: that is an empty one.
  do
    text = fgetl (stream ("from", "sed -u G <&3"));
    if (! ischar (text))
      exit (0);
    endif
  until (! isempty (text))
  message = struct ();
  try
    found = jsondecode (text);
    if (isstruct (found) && isscalar (found))
      message = found;
    endif
  catch
  end_try_catch
endfunction
