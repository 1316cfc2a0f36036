function text = shorten (text)
  ## A text of what is UTF-8 in it, and no longer than what is kept.
  text = text(:)';
  more = numel (text) > longest ();
  if (more)
    text = text(1:longest ());
  endif
  text = __u8_validate__ (text(text != 0), "replace");
  if (more)
    text = [text "\n… and more than is kept\n"];
  endif
endfunction
