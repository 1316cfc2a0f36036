function begin_capture ()
  ## Have what is printed from now on, here and by programs, go into a file.
  name = tempname ();
  stream = fopen (name, "w");
  turn (stream);
  kept ("printed", name);
endfunction
