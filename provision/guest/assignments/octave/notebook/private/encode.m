function text = encode (x, depth)
  ## A value as words of ASCII: its kind, its size, and what is in it. What is plain is copied, a
  ## function has a number. Nothing here or in `decode` evaluates what the other side sent.
  if (nargin < 2)
    depth = 0;
  endif
  if (depth > 50)
    error ("a value is too deep");
  elseif (numel (x) > 1e6)
    error ("a value is too large to be compared");
  endif
  kind = class (x);
  measure = sprintf ("%dx", size (x));
  switch (kind)
    case {"double", "single"}
      if (issparse (x))
        [row, column, value] = find (x);
        text = ["sparse " measure " " encode({row, column, value}, depth + 1)];
      elseif (iscomplex (x))
        text = ["complex " measure " " encode({real(x), imag(x)}, depth + 1)];
      else
        text = [kind " " measure " " pack(typecast (full (x)(:)', "uint8"))];
      endif
    case {"int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"}
      text = [kind " " measure " " pack(typecast (x(:)', "uint8"))];
    case {"char", "logical"}
      if (issparse (x))
        text = ["sparse " measure " " encode({find(x), [], true}, depth + 1)];
      else
        text = [kind " " measure " " pack(uint8 (x(:)'))];
      endif
    case "cell"
      parts = cell (1, numel (x));
      for k = 1:numel (x)
        parts{k} = [" " encode(x{k}, depth + 1)];
      endfor
      text = ["cell " measure parts{:}];
    case "struct"
      text = ["struct " measure " " encode(fieldnames (x)', depth + 1), ...
              " " encode(reshape (struct2cell (x), [], 1), depth + 1)];
    case "containers.Map"
      told = {x.KeyType, x.ValueType, keys(x), values(x)};
      text = ["map " measure " " encode(told, depth + 1)];
    case "function_handle"
      number = number_of (x);
      if (number)
        text = sprintf ("yours %d", number);
      else
        objects = kept ("objects");
        objects{end+1} = x;
        kept ("objects", objects);
        text = sprintf ("mine %d", numel (objects));
      endif
    otherwise
      error ("notebook:no-value", "an object of %s cannot be copied", kind);
  endswitch
endfunction

function text = pack (bytes)
  text = "-";
  if (! isempty (bytes))
    text = base64_encode (bytes);
  endif
endfunction
