function x = decode (text)
  ## A value of the other side's, or an error: it is nothing that `encode` makes.
  words = regexp (text, '[^ ]+', "match");
  [x, at] = one (words, 1, 0);
  if (at != numel (words) + 1)
    refuse ();
  endif
endfunction

function refuse ()
  error ("the notebook gives what is no value");
endfunction

function [x, at] = one (words, at, depth)
  if (at >= numel (words) || depth > 50)
    refuse ();
  endif
  kind = words{at};
  told = words{at+1};
  at += 2;
  if (strcmp (kind, "mine") || strcmp (kind, "yours"))
    number = str2double (told);
    if (strcmp (kind, "mine"))
      x = stand_in (number);
    else
      x = kept ("objects"){number};
    endif
    return;
  endif
  measure = sscanf (told, "%dx")';
  count = 1;
  for each = measure
    count *= each;
    if (each < 0 || each > 1e6)
      refuse ();
    endif
  endfor
  if (numel (measure) < 2 || count > 1e6)
    refuse ();
  endif
  switch (kind)
    case {"double", "single", "int8", "int16", "int32", "int64", ...
          "uint8", "uint16", "uint32", "uint64", "char", "logical"}
      if (at > numel (words))
        refuse ();
      endif
      bytes = zeros (1, 0, "uint8");
      if (! strcmp (words{at}, "-"))
        bytes = uint8 (matlab.net.base64decode (words{at}));
      endif
      at += 1;
      if (strcmp (kind, "char"))
        x = char (bytes);
      elseif (strcmp (kind, "logical"))
        x = bytes != 0;
      else
        x = typecast (bytes, kind);
      endif
      if (numel (x) != count)
        refuse ();
      endif
      x = reshape (x, measure);
    case "cell"
      x = cell (measure);
      for k = 1:count
        [x{k}, at] = one (words, at, depth + 1);
      endfor
    case "complex"
      [parts, at] = cells (words, at, depth, 2);
      x = reshape (complex (parts{:}), measure);
    case "sparse"
      [parts, at] = cells (words, at, depth, 3);
      if (isempty (parts{2}))
        x = sparse (false (measure));
        x(parts{1}) = true;
      else
        x = sparse (parts{:}, measure(1), measure(2));
      endif
    case "struct"
      [names, at] = one (words, at, depth + 1);
      [parts, at] = one (words, at, depth + 1);
      if (! iscellstr (names) || ! iscell (parts))
        refuse ();
      endif
      x = reshape (cell2struct (reshape (parts, [numel(names), measure]), names(:), 1), measure);
    case "map"
      [parts, at] = cells (words, at, depth, 4);
      x = containers.Map ("KeyType", parts{1}, "ValueType", parts{2});
      for k = 1:numel (parts{3})
        x(parts{3}{k}) = parts{4}{k};
      endfor
    otherwise
      refuse ();
  endswitch
endfunction

function [parts, at] = cells (words, at, depth, count)
  [parts, at] = one (words, at, depth + 1);
  if (! iscell (parts) || numel (parts) != count)
    refuse ();
  endif
endfunction
