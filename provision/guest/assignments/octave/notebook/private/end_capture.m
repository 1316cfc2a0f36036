function text = end_capture ()
  ## What was printed since `begin_capture`, up to a length.
  text = "";
  name = kept ("printed");
  if (isempty (name))
    return;
  endif
  turn (fopen ("/dev/null", "w"));
  kept ("printed", "");
  stream = fopen (name, "r");
  if (stream >= 0)
    text = shorten (fread (stream, longest () + 1, "uint8=>char")');
    fclose (stream);
    unlink (name);
  endif
endfunction
