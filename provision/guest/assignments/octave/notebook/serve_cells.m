function serve_cells (seconds)
  ## Serve the pupil's end of the line.
  ##   seconds: that a cell, or one answer, may take.
  more off
  warning ("off", "Octave:gnuplot-graphics");
  set (0, "defaultfigurevisible", "off");
  crash_dumps_octave_core (false);
  kept ("seconds", seconds);
  kept ("objects", {});
  kept ("outputs", {});
  kept ("state", "");
  kept ("integers", true);
  kept ("verbs", struct ("names", @names, "get", @get_value, "call", @call, "seed", @seed));
  serve (@take, @recover);
endfunction

function take (message)
  if (isfield (message, "ask"))
    told = in_time (message);
    try
      send (told);
    catch e
      send (struct ("raise", encode ({e.message, ""})));
    end_try_catch
  elseif (isfield (message, "file"))
    write_part (message.file, message.part);
  elseif (isfield (message, "run"))
    run (message.run);
  else  # all files are there, or what was printed is asked for: it was told with each answer
    send (struct ("done", {{}}));
  endif
endfunction

function recover ()
  ## What was taking too long has been ended.
  state = kept ("state");
  kept ("state", "");
  why = sprintf ("this takes more than %d seconds", kept ("seconds"));
  if (strcmp (state, "cell"))
    tell (end_capture ());
    fail (why);
    finish ();
  elseif (strcmp (state, "answer"))
    send (struct ("printed", end_capture (), "late", true, "raise", encode ({why, ""})));
  endif
endfunction

function told = in_time (message)
  kept ("state", "answer");
  begin_capture ();
  wait_for (kept ("seconds"));
  told = answer (message);
  wait_for (0);
  kept ("state", "");
  told.printed = end_capture ();
endfunction

## -- cells

function run (code)
  kept ("outputs", {});
  kept ("state", "cell");
  wait_for (kept ("seconds"));
  for each = statements (strrep (code, "\r", ""))
    begin_capture ();
    wrong = "";
    try
      evalin ("base", each{1});
    catch e
      wrong = reason_of (e);
    end_try_catch
    tell (end_capture ());
    if (! isempty (wrong))
      fail (wrong);
    endif
  endfor
  show_figures ();
  finish ();
endfunction

function finish ()
  wait_for (0);
  kept ("state", "");
  send (struct ("done", {kept("outputs")}));
endfunction

function add (output)
  outputs = kept ("outputs");
  if (numel (outputs) < 1000)
    outputs{end+1} = output;
    kept ("outputs", outputs);
  endif
endfunction

function tell (text)
  if (! isempty (text))
    outputs = kept ("outputs");
    if (! isempty (outputs) && isfield (outputs{end}, "text"))
      outputs{end}.text = shorten ([outputs{end}.text text]);
      kept ("outputs", outputs);
    else
      add (struct ("output_type", "stream", "name", "stdout", "text", text));
    endif
  endif
endfunction

function fail (why)
  why = shorten (why);
  lines = {["error: " why]};
  add (struct ("output_type", "error", "ename", "error", "evalue", why, "traceback", {lines}));
endfunction

function show_figures ()
  ## As Octave's kernel for Jupyter shows them, after each cell.
  for figure = get (0, "children")'
    name = [tempname() ".png"];
    try
      place = get (figure, "position");
      print (figure, name, "-dpng", sprintf ("-S%d,%d", place(3), place(4)));
      stream = fopen (name, "r");
      picture = base64_encode (fread (stream, Inf, "uint8=>uint8")');
      fclose (stream);
      data = struct ("image/png", picture);
      add (struct ("output_type", "display_data", "data", data));
    catch e
      fail (e.message);
    end_try_catch
    close (figure);
  endfor
endfunction

function write_part (name, digits)
  folder = fileparts (name);
  if (! isempty (folder))
    mkdir (folder);
  endif
  stream = fopen (name, "a");
  fwrite (stream, sscanf (digits, "%2x"));
  fclose (stream);
endfunction

## -- what a test asks

function kinds = names (asked)
  ## Of each name what it is: a value, a function in one, a function; nothing.
  kinds = cell (size (asked));
  for k = 1:numel (asked)
    name = asked{k};
    if (evalin ("base", sprintf ("exist (\"%s\", \"var\")", name)))
      kinds{k} = "value";
      if (evalin ("base", sprintf ("is_function_handle (%s)", name)))
        kinds{k} = "function value";
      endif
    else
      kinds{k} = function_kind (name);
    endif
  endfor
endfunction

function kind = function_kind (__name__)
  kind = "";
  switch (exist (__name__))
    case 103
      kind = "function";
    case 2
      kind = "file";  # beside the notebook, perhaps
  endswitch
endfunction

function value = get_value (name)
  value = evalin ("base", name);
endfunction

function value = seed (name, arguments)
  value = [];
  feval (name, arguments{:});
endfunction

function values = call (what, count, arguments)
  if (! ischar (what))
    f = kept ("objects"){what};
  elseif (evalin ("base", sprintf ("exist (\"%s\", \"var\")", what)))
    f = evalin ("base", what);
  else
    f = str2func (what);
  endif
  values = call_here (f, count, arguments);
endfunction
