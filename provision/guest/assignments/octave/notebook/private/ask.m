function value = ask (verb, varargin)
  ## Ask the other side, and answer what it asks meanwhile.
  send (struct ("ask", verb, "with", encode (varargin)));
  while (true)
    message = receive ();
    if (isfield (message, "gone"))
      kept ("gone", ["the notebook's program has ended: " message.gone]);
      error ("%s", kept ("gone"));
    elseif (! isfield (message, "ask"))
      break;
    endif
    send (answer (message));
  endwhile
  if (isfield (message, "printed") && ischar (message.printed))
    puts (shorten (message.printed));
  endif
  if (isfield (message, "late"))
    kept ("gone", "the notebook takes too long");
  endif
  if (isfield (message, "raise"))
    raised = decode (message.raise);
    [text, name] = raised{:};
    if (! ischar (text) || isempty (text) || ! ischar (name))
      text = "error";
      name = "";
    endif
    error (struct ("message", text, "identifier", name));
  elseif (! isfield (message, "value"))
    error ("the notebook gives what is no value");
  endif
  value = decode (message.value);
endfunction
