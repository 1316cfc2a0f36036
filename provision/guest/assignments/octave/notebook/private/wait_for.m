function wait_for (seconds)
  ## Have all that runs here interrupted after so many seconds; 0: no more.
  ## Each side has the time from whoever began it.
  watch = stream ("watch", ["bash -c 'while read -r n; do [ $n = 0 ] || ", ...
                            "read -r -t $n || [ $? -le 128 ] || kill -INT 0; done'"]);
  fprintf (watch, "%d\n", seconds);
  fflush (watch);
endfunction
