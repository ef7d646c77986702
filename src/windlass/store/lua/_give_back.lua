local function give_back(job) -- nobody started it
  job.attempt = job.attempt - 1
  save_claim(job)
  if job.cancel_requested then finish(job, CANCELLED, KEEP, REASON_CANCELLED) else make_ready(job, true) end
end
