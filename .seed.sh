SEED=$1 cargo test -q -p dormouse-core --test resume -- --nocapture > /tmp/resume.log 2>&1
sed -i 's/Epoch([0-9]*)/E/g; s/Position { epoch: E, seq: \([0-9]*\) }/@\1/g; s/ChannelName(\("[^"]*"\))/\1/g; s/"tab-number-0000000/"T/g; s/17637600//' /tmp/resume.log
grep -nE "tab $2 <-|T$2\"|falls|seed" /tmp/resume.log | grep -v "Remember" | cut -c1-${3:-330}
