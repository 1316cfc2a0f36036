function turn (stream)
  fflush (stdout);
  fflush (stderr);
  dup2 (stream, stdout);
  dup2 (stream, stderr);
  fclose (stream);
endfunction
