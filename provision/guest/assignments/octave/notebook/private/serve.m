function serve (take, recover)
  ## Take message after message. An interrupt, that of who waits too long, is no error that could be
  ## caught: it ends all functions, but for what stands in a cleanup.
  unwind_protect
    while (true)
      take (receive ());
    endwhile
  unwind_protect_cleanup
    recover ();
    serve (take, recover);
  end_unwind_protect
endfunction
