function told = answer (message)
  ## Carry out what the other side asks; what came of it, as a message.
  try
    with = decode (message.with);
    verbs = kept ("verbs");
    told = struct ("value", encode (verbs.(message.ask) (with{:})));
  catch e
    told = struct ("raise", encode ({shorten(e.message), e.identifier}));
  end_try_catch
endfunction
