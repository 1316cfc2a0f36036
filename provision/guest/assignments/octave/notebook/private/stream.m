function id = stream (name, program)
  ## What is written to a program, or if it is `from` one read of it; which no interrupt ends. It is
  ## begun anew if it was closed. No end of ours waits for its own, as it would if popen began it.
  ours = kept ("streams");
  if (isfield (ours, name) && is_valid_file_id (ours.(name)) && strncmp (fopen (ours.(name)), "sh-", 3))
    id = ours.(name);
    return;
  endif
  [to, from] = popen2 ("sh", {"-c", ["trap '' INT; exec " program]}, true);
  if (strcmp (name, "from"))
    [id, other] = deal (from, to);
  else
    [id, other] = deal (to, from);
  endif
  builtin ("fclose", other);
  ours.(name) = id;
  kept ("streams", ours);
endfunction
