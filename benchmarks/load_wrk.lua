-- What wrk sends, and what it counted, as one line of JSON: wrk -s load_wrk.lua URL -- FORM HEAD TAIL DIGITS
-- FORM: plain (the same request again), unique (an id of its own in each), checked (and each answer looked at).
local format = string.format

function init(arguments)
  local form, head, tail, digits = unpack(arguments)
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "application/json"
  wrk.body = head .. string.rep("0", digits) .. tail
  if form == "plain" then
    return
  end
  local whole = wrk.format()
  local from = #whole - #tail - digits
  local before, after = whole:sub(1, from), whole:sub(#whole - #tail + 1)
  local id, number = "%0" .. digits .. "d", 0
  function request()
    number = number + 1
    return before .. format(id, number) .. after
  end
  if form == "checked" then
    answered, length = 0, 0
    function response(status, headers, body)
      if status == 200 then
        answered = answered + 1
        length = length + #body
      end
    end
  end
end

function setup(thread)
  only = thread -- there is one
end

function done(summary, latency)
  local failed = summary.errors
  local line = '{"requests": %d, "duration_us": %d, "bytes": %d, "status": %d, "socket": %d, "p99_us": %d'
  io.write(format(line, summary.requests, summary.duration, summary.bytes, failed.status,
    failed.connect + failed.read + failed.write + failed.timeout, latency:percentile(99)))
  local answered = only:get("answered")
  if answered then
    io.write(format(', "answered": %d, "length": %d', answered, only:get("length")))
  end
  io.write("}\n")
end
