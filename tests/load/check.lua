-- Asks for the secrets of random tenants, and counts what comes back. For wrk:
--
--     wrk -t 32 -c 32 -d 10s -s check.lua http://ADDRESS -- FILE [control]
--
-- As many threads as connections: a thread then has one request under way, so an answer belongs
-- to the thread's last request, whatever the answer says. The file has a line for each host: the
-- host, its secret, and 1 if the tenant may be away. As a control, one request in a hundred asks
-- for another tenant's secret, and each of those answers has to be counted as wrong.

local threads = {}

function setup(thread)
   table.insert(threads, thread)
   thread:set("number", #threads)
end

local guests = {}
local asked
local leaks = false
local paths = { "/secret", "/slow", "/write", "/move", "/leak" }

function init(args)
   right, wrong, away, busy, failed, other, leaked = 0, 0, 0, 0, 0, 0, 0
   shown = 0
   leaks = args[2] == "control"
   for line in io.lines(args[1]) do
      local host, secret, moves = line:match("^(%S+) (%S+) (%d)$")
      local requests = {}
      for _, path in ipairs(paths) do
         requests[path] = wrk.format("GET", path, { Host = host })
      end
      table.insert(guests, { host = host, secret = secret, moves = moves == "1", requests = requests })
   end
   math.randomseed(os.time() * 100 + (number or 0))
   for _ = 1, 10 do math.random() end
end

local function path()
   local of = math.random(1000)
   if leaks and of <= 10 then return "/leak" end
   if of <= 30 then return "/slow" end
   if of <= 80 then return "/write" end
   if of <= 100 then return "/move" end
   return "/secret"
end

function request()
   asked = { guest = guests[math.random(#guests)], path = path() }
   return asked.guest.requests[asked.path]
end

function response(status, _, body)
   local guest = asked.guest
   if status == 200 then
      if asked.path == "/leak" then leaked = leaked + 1 end
      if body == guest.secret then
         right = right + 1
      else
         wrong = wrong + 1
         if not leaks and shown < 3 then
            shown = shown + 1
            io.stderr:write("WRONG ", guest.host, asked.path, " ", body, "\n")
         end
      end
   elseif status == 404 and guest.moves then
      away = away + 1
   elseif status == 503 then
      busy = busy + 1
   elseif status == 500 then
      failed = failed + 1
   else
      other = other + 1
      if shown < 3 then
         shown = shown + 1
         io.stderr:write("OTHER ", guest.host, asked.path, " ", status, " ", body, "\n")
      end
   end
end

function done(summary)
   local line = "counted"
   for _, name in ipairs({ "right", "wrong", "away", "busy", "failed", "other", "leaked" }) do
      local sum = 0
      for _, thread in ipairs(threads) do sum = sum + thread:get(name) end
      line = line .. " " .. name .. "=" .. string.format("%d", sum)
   end
   local errors = summary.errors
   print(line .. " sockets=" .. errors.connect + errors.read + errors.write .. " late=" .. errors.timeout)
end
